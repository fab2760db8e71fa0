#!/usr/bin/env bash
# Installs what the browser's tests need on Debian and Ubuntu; elsewhere those tests are skipped.
set -euo pipefail
for name in chromium-headless-shell chromium chromium-browser; do
  if command -v "$name" >/dev/null; then
    exit 0
  fi
done
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
  echo "For the browser's tests install chromium (Debian: as root, $0)." >&2
  exit 0
fi
apt-get update -qq
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -qq chromium-headless-shell >/dev/null 2>&1 ||
  apt-get install -y -qq chromium >/dev/null
