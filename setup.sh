#!/usr/bin/env bash
# Installs what Finetune Verdict needs into the environment that the host made for it. Pinned, and
# safe to run twice. It never installs or moves `transformerlab`, which belongs to the host.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"

# The hosts' environments have no pip of their own, and uv may lie outside PATH.
uv="$(command -v uv || true)"
for place in "${UV:-}" ~/.local/bin/uv ~/.cargo/bin/uv /opt/homebrew/bin/uv /usr/local/bin/uv; do
  if [[ -z "$uv" && -x "$place" ]]; then uv="$place"; fi
done
if [[ -n "${VIRTUAL_ENV:-}" && -n "$uv" ]]; then
  install=("$uv" pip install --quiet)
elif python -m pip --version >/dev/null 2>&1; then
  install=(python -m pip install --quiet --disable-pip-version-check)
elif python -m ensurepip --upgrade >/dev/null 2>&1; then
  install=(python -m pip install --quiet --disable-pip-version-check)
else
  echo "Finetune Verdict: nothing can install packages here: uv is not on PATH (looked also in" \
    "~/.local/bin), and $(command -v python) has no pip. Install uv where the host runs" \
    "(python3 -m pip install uv, or your system's package), put it on the host's PATH, restart" \
    "the host, and launch again." >&2
  exit 1
fi

sdk="$(python -c 'from importlib.metadata import version; print(version("transformerlab"))' 2>/dev/null || true)"
# The last host with pins of its own wants them kept. Later ones are installed without pins, so that
# what they brought must not be moved: only what is missing gets a fixed version.
case "$sdk" in
  0.0.45) pins="$here/constraints/classic.txt" ;;
  0.*) pins="$here/constraints/host.txt" ;;
  *) pins="$here/constraints/default.txt" ;;
esac

echo "Finetune Verdict: $(uname -s), engine mlx, host SDK ${sdk:-none}, pins $(basename "$pins")"
"${install[@]}" -r "$here/requirements.txt" -r "$here/requirements-anthropic.txt" -c "$pins"
echo "Finetune Verdict: installed"
