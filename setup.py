"""Build of the package: the notebooks of the chapters travel inside a wheel; everything else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

NOTEBOOKS = '"""Notebooks of the chapters, which ``audioattn run NAME`` executes."""\n'


class BuildWithNotebooks(build_py):
    """Copies ``notebooks/*.ipynb`` beside the modules. An editable installation has them in its checkout."""

    def run(self) -> None:
        """Build the modules, then copy."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "audioattn_lib" / "notebooks"
            target.mkdir(parents=True, exist_ok=True)
            # A package of its own: files of a folder that is none would count as source of every run.
            (target / "__init__.py").write_text(NOTEBOOKS, encoding="utf-8")
            for notebook in sorted(Path("notebooks").glob("*.ipynb")):
                shutil.copy(notebook, target / notebook.name)


setup(cmdclass={"build_py": BuildWithNotebooks})
