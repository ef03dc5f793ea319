#!/usr/bin/env bash
# Install the packages of Finetune Verdict into the environment that the host made for it. Versions
# are pinned, and it is safe to run twice. This never installs or changes `transformerlab`, which
# belongs to the host.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"

if [[ -n "${VIRTUAL_ENV:-}" ]] && command -v uv >/dev/null 2>&1; then
  install=(uv pip install --quiet)  # the classic host's environment has no pip of its own
else
  install=(python -m pip install --quiet --disable-pip-version-check)
fi

sdk="$(python -c 'from importlib.metadata import version; print(version("transformerlab"))' 2>/dev/null || true)"
# SDK 0.0.45 belongs to the last host that pins its packages; use the same pins. Later hosts have no
# pins, so keep the versions that they installed and pin only the packages that are missing.
case "$sdk" in
  0.0.45) pins="$here/constraints/classic.txt" ;;
  0.*) pins="$here/constraints/host.txt" ;;
  *) pins="$here/constraints/default.txt" ;;
esac

echo "Finetune Verdict: $(uname -s), engine mlx, host SDK ${sdk:-none}, pins $(basename "$pins")"
"${install[@]}" -r "$here/requirements.txt" -r "$here/requirements-anthropic.txt" -c "$pins"
echo "Finetune Verdict: installed"
