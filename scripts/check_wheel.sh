#!/usr/bin/env bash
# Builds the wheel, installs it in an empty environment, and runs it there, away from the source tree.
# PIP_ARGS goes to pip. Usage: bash scripts/check_wheel.sh
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python="$root/.venv/bin/python"
[ -x "$python" ] || python=python3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m build --wheel --outdir "$work/dist" "$root"
"$python" -m venv "$work/empty"
# shellcheck disable=SC2086
"$work/empty/bin/python" -m pip install --quiet --disable-pip-version-check ${PIP_ARGS:-} \
    -c "$root/constraints.txt" "$work"/dist/lamina-*.whl

cd "$work"
lamina="$work/empty/bin/lamina"
"$lamina" --version
"$lamina" canon relu >canon.txt
grep -q "max(0, z)" canon.txt
"$lamina" data list >data.txt
grep -q iris data.txt
"$lamina" doctor
"$lamina" demo --quiet --out run
test -s run/report.html
"$work/empty/bin/python" -W error -c "import lamina; print(lamina.__version__)"
echo "the wheel works in an empty environment: $("$work/empty/bin/python" -m pip list --format=freeze | wc -l) distributions"
