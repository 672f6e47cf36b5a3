#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Writes until when certificates are valid: certificates TARGET CERTIFICATE...
set -eu
target=$1
shift
new=$(mktemp "$target.XXXXXX")
trap 'rm -f "$new"' EXIT
{
  echo '# HELP fediops_certificate_expires_seconds When a certificate on disk ends, in seconds since 1970.'
  echo '# TYPE fediops_certificate_expires_seconds gauge'
  for path in "$@"; do
    [ -e "$path" ] || continue
    # One that cannot be read must not hide the others; its line is missing.
    ends=$(openssl x509 -in "$path" -noout -enddate) || continue
    printf 'fediops_certificate_expires_seconds{path="%s"} %s\n' "$path" "$(date --date="${ends#notAfter=}" +%s)"
  done
} > "$new"
chmod 0644 "$new"
mv "$new" "$target"
