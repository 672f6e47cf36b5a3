# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# owner NAME EMAIL: make the owner's account and keep its password, and nothing else, in /etc/mastodon/owner_password.
# Where a run was killed between the two, the account gets a new password. An account that was there before is left
# alone, and the file stays empty.
set -eu
umask 077
kept=/etc/mastodon/owner_password
begun=/var/lib/fediops/owner_begun
killed=no
[ ! -e "$begun" ] || killed=yes
touch "$begun"
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT

if ! said=$(tootctl accounts create "$1" --email "$2" --confirmed --approve --role Owner </dev/null 2>"$errors"); then
  if ! grep --quiet taken "$errors"; then
    rm "$begun"
    printf '%s\n' "$said" >&2
    cat "$errors" >&2
    ! grep --quiet unreachable "$errors" || echo "No mail server was found for $2 (mastodon_admin_email)." >&2
    exit 1
  elif [ $killed = no ]; then
    echo "The name $1 or the address $2 belongs to an account already, which was left alone."
    said=
  else
    said=$(tootctl accounts modify "$1" --reset-password </dev/null)
  fi
fi
printf '%s\n' "$said" | sed --quiet 's/^New password: //p' | tr --delete '\n' > "$kept.part"
if [ -n "$said" ] && [ ! -s "$kept.part" ]; then
  echo "tootctl told no password for the account $1." >&2
  exit 1
fi
mv "$kept.part" "$kept"
rm "$begun"
