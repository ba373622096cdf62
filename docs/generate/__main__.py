import sys

from docs.generate import write_all

if __name__ == "__main__":
    written = write_all()
    sys.stdout.write("".join(f"wrote {name}\n" for name in written) or "all pages are up to date\n")
