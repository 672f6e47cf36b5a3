# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# Prints the certificate in place with its chain, then the public half of the private key beside it.
cd /etc/ssl/mastodon || exit 0
cat fullchain.pem
[ "$(stat --format '%a %U' privkey.pem)" = '600 root' ] && openssl pkey -in privkey.pem -pubout
exit 0
