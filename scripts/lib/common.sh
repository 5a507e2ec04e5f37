# shellcheck shell=bash
# Shared by the scripts: where the checkout is, how to talk, how to find Python and programs.

set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)"
cd "$root"

# Everything is said on stderr: stdout belongs to the command that a script runs.
say() { printf '==> %s\n' "$*" >&2; }

die() {
  printf 'error: %s\n' "$1" >&2
  shift
  for hint in "$@"; do printf '  HINT: %s\n' "$hint" >&2; done
  exit 1
}

# quietly COMMAND…: its output appears only when it fails.
quietly() {
  local log status=0
  log="$(mktemp)"
  "$@" >"$log" 2>&1 </dev/null || status=$?
  [ "$status" -eq 0 ] || cat "$log" >&2
  rm -f "$log"
  return "$status"
}

python_is_new_enough() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

python_has_pip() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

# Print the Python to use: $PYTHON, else one that can make a venv with pip, else any that is
# new enough; fail when there is none.
find_python() {
  local candidate found=
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
    python_is_new_enough "$candidate" || continue
    : "${found:=$candidate}"
    if [ "$candidate" = "${PYTHON:-}" ] || python_has_pip "$candidate"; then
      found="$candidate"
      break
    fi
  done
  [ -n "$found" ] && printf '%s\n' "$found"
}
