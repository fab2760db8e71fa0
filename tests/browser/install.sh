#!/usr/bin/env bash
# Installs the browser for the tests on Debian and Ubuntu; elsewhere those tests are skipped.
set -euo pipefail
if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
  exit 0
fi
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium chromium-driver >/dev/null
else
  echo "no chromium: install the packages chromium and chromium-driver to run the browser tests"
fi
