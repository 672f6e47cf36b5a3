# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# Prints a certificate with its chain ($1), then the public half of the private key beside it ($2) where that has the
# right mode and owners ($3). With a fourth argument it says OK where the host itself trusts the certificate.
cd /etc/ssl/mastodon || exit 0
cat "$1"
[ "$(stat --format '%a %U %G' "$2")" = "$3" ] && openssl pkey -in "$2" -pubout
[ -z "$4" ] || openssl verify -CAfile /etc/ssl/certs/ca-certificates.crt -no-CApath -no-CAstore "$1"
exit 0
