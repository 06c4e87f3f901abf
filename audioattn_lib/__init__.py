"""Attention over sound: the library behind the book.

Four floors; a module imports only from floors below its own.

====== ================================= =============================================
floor  package                           holds
====== ================================= =============================================
4      ``cli``                           the ``audioattn`` command line
3      ``experiments``, ``display``      runs from a ``Config``; pictures and players
2      ``models``, ``training``, ``data`` neighbours that never import each other
1      ``attention``, ``audio``, ``batch`` the mathematics, the sound, the machinery
====== ================================= =============================================
"""

__version__ = "0.1.0"
