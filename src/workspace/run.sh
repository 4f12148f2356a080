# Runs a program for a session: sh -c THIS bastion NONCE MODE ROWS COLUMNS NAME=VALUE... -- [COMMAND]
# MODE: tty (on a terminal) or pipe (stdio apart). COMMAND: none for a login shell, `-` if it comes on stdin (pipe only).
# Only what every sh has: no program of the image is needed but the user's shell.
nonce=$1 mode=$2 rows=$3 columns=$4
shift 4
while [ "$1" != -- ]; do export "$1"; shift; done
shift
while read -r key uid _; do [ "$key" = Uid: ] && break; done 2>/dev/null </proc/$$/status
name= home= shell=
if [ -r /etc/passwd ]; then
  while IFS=: read -r name _ id _ _ home shell; do [ "$id" = "$uid" ] && break; name= home= shell=; done </etc/passwd
fi
export HOME="${HOME:-${home:-/}}" USER="${USER:-${name:-$uid}}" SHELL="${SHELL:-${shell:-/bin/sh}}"
export LOGNAME="$USER"
case $SHELL in */nologin|*/false) SHELL=/bin/sh;; esac
[ -x "$SHELL" ] || SHELL=sh
cd "$HOME" 2>/dev/null || cd /
read -r stat </proc/$$/stat
start_time() { shift 19; born=$1; }
start_time ${stat##*) }
if [ "$mode" = tty ]; then
  stty rows "$rows" cols "$columns" iutf8 2>/dev/null
  export BASTION_EXEC="$$.$nonce" # Tells who this is once its arguments are gone, for when what follows does not arrive.
  printf '%s %s %s\n' "$nonce" $$ "$born"
  [ $# = 0 ] && exec "$SHELL" -l
  exec "$SHELL" -c "$1"
fi
printf '%s %s %s\n' "$nonce" $$ "$born" >&2
# A child, never exec: the container runtime closes stdin as soon as stdout ends, and a program may close or redirect
# its stdout long before it has read its input (`exec cat >file`). This shell keeps stdout open until the child ends.
if [ $# = 0 ]; then
  "$SHELL" -l
elif [ "$1" = - ]; then
  command=
  while IFS= read -r line && [ "$line" != "$nonce" ]; do command="$command$line
"; done
  "$SHELL" -c "$command"
else
  "$SHELL" -c "$1"
fi
status=$?
# The exec does not end while stdin that nobody reads is under way: say that the child ended, and drain until the
# bastion closes stdin.
printf '%s\n' "$nonce" >&2
cat >/dev/null 2>&1 || while read -r _; do :; done
exit $status
