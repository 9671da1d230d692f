"""``llmrt`` and ``python -m llmrt``: so small that Ctrl+C is no traceback while the rest is imported."""

import sys


def main() -> None:
    """Run the command line; Ctrl+C is exit status 130, as soon as there is anything to interrupt."""
    if sys.platform == "win32":
        sys.exit("error: llmrt runs on Linux and macOS. On Windows install it in WSL 2, which is Linux.")
    try:
        from llmrt.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
