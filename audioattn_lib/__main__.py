"""``python -m audioattn_lib`` is the command line ``audioattn``."""

from audioattn_lib.cli import main

if __name__ == "__main__":
    main()
