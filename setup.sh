#!/usr/bin/env bash
# Installs what Finetune Verdict needs into the environment that the host made for it. Pinned, and
# safe to run twice. It never installs or moves `transformerlab`, which belongs to the host.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"

if [[ -n "${VIRTUAL_ENV:-}" ]] && command -v uv >/dev/null 2>&1; then
  install=(uv pip install --quiet)  # the classic host's environment has no pip of its own
else
  install=(python -m pip install --quiet --disable-pip-version-check)
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
