# Ends a session that its connection left behind: sh -c THIS bastion PID BORN (the shell that run.sh was, and its start
# time, field 22 of /proc/PID/stat, so that a reused PID is left alone). HUP to its process group and to the one in the
# foreground of its terminal; whoever is left after five seconds gets KILL. Jobs that nohup or setsid protects live on.
# If that shell was never heard of: sh -c THIS bastion NONCE. Status 3 says that there is none (yet).
pid=$1 born=$2
# Whether a file of /proc has a line like that. Of a process that ends meanwhile nothing more is read, which is no line.
has() {
  while line=; IFS= read -r line || [ -n "$line" ]; do
    case $line in $2) return 0;; esac
  done 2>/dev/null <"$1"
  return 1
}
# Its arguments tell, of which more follow than here, or once a terminal's shell took its place its environment.
find_shell() {
  nonce=$1
  for process in /proc/[0-9]*; do
    read -r stat 2>/dev/null <$process/stat || continue
    number=${process#/proc/}
    set -- ${stat##*) }
    [ "$3" = "$number" ] || continue
    has $process/cmdline "*$nonce*[a-z]*" || has $process/environ "*=$number.$nonce*" || continue
    shift 19
    pid=$number born=$1
    return 0
  done
  return 1
}
if [ $# = 1 ]; then find_shell "$1" || exit 3; fi
groups=$pid
if read -r stat 2>/dev/null </proc/$pid/stat; then
  set -f
  set -- ${stat##*) }
  foreground=$6
  shift 19
  [ "$1" = "$born" ] || exit 0
  [ "$foreground" -gt 0 ] && [ "$foreground" != "$pid" ] && groups="$pid $foreground"
fi
for group in $groups; do kill -HUP "-$group"; kill -CONT "-$group"; done 2>/dev/null
for _ in 1 2 3 4 5; do
  left=
  for group in $groups; do kill -0 "-$group" 2>/dev/null && left="$left $group"; done
  [ -z "$left" ] && exit 0
  groups=$left
  sleep 1
done
for group in $groups; do kill -KILL "-$group"; done 2>/dev/null
