"""The list of compiled modules; everything else about packaging is in pyproject.toml.

Every ``*_cy.py`` below the package is built, also through the links ``shardproxy/dialects`` and
``shardproxy/tools``. ``SHARDPROXY_EXT``: ``auto`` (default) builds, and goes on without when there is no working C
compiler; ``require`` fails then; ``no`` builds nothing. Whatever is built, the sources are installed too.
"""

import os
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MODE = os.environ.get("SHARDPROXY_EXT") or "auto"
DIRECTIVES = {"language_level": 3, "boundscheck": False, "wraparound": False, "cdivision": True,
              "initializedcheck": False}


class BuildCython(build_ext):
    """Translate all modules at once, when (and only when) they are to be built."""

    def run(self) -> None:
        from Cython.Build import cythonize

        translated = {made.name: made for made in cythonize(
            self.extensions, compiler_directives=DIRECTIVES, quiet=True, build_dir=os.path.join("build", "cython"))}
        for extension in self.extensions:       # changed in place: setuptools has noted things on these objects
            extension.sources = translated[extension.name].sources
            extension.depends = translated[extension.name].depends
        super().run()


def extensions() -> list[Extension]:
    """One extension for each ``*_cy.py``, in a fixed order."""
    found: list[Extension] = []
    for folder, folders, files in os.walk("shardproxy", followlinks=True):
        folders.sort()
        for file in sorted(files):
            if file.endswith("_cy.py"):
                path = os.path.join(folder, file)
                found.append(Extension(path[:-3].replace(os.sep, "."), [path], extra_compile_args=["-O2"],
                                       optional=MODE == "auto"))
    return found


def missing() -> str:
    """Why C cannot be compiled here; empty when it can. Found out by compiling three lines."""
    command = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    include = sysconfig.get_paths()["include"]
    if not Path(include, "Python.h").exists():
        return f"no {include}/Python.h (Debian: apt install python3-dev)"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "try.c")
        source.write_text("#include <Python.h>\nint try(void) { return PY_VERSION_HEX; }\n")
        log = os.path.join(folder, "log")
        code = os.system(f"{' '.join(command)} -I'{include}' -c '{source}' -o '{source}.o' >'{log}' 2>&1")
        return f"`{command[0]}` does not work (Debian: apt install gcc libc6-dev)" if code else ""


def wanted() -> list[Extension]:
    if MODE not in ("auto", "require", "no"):
        sys.exit(f"SHARDPROXY_EXT={MODE}: must be auto, require or no")
    if MODE == "no":
        return []
    if problem := missing():
        if MODE == "require":
            sys.exit(f"SHARDPROXY_EXT=require, but {problem}")
        print(f"shardproxy: hot modules not compiled, {problem}", file=sys.stderr)
        return []
    return extensions()


if __name__ == "__main__":
    setup(ext_modules=wanted(), cmdclass={"build_ext": BuildCython})
