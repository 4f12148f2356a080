# Ends a session that its connection left behind: sh -c THIS bastion PID BORN (the shell that run.sh was, and its start
# time, field 22 of /proc/PID/stat, so that a reused PID is left alone). HUP to its process group and to the one in the
# foreground of its terminal; whoever is left after five seconds gets KILL. Jobs that nohup or setsid protects live on.
pid=$1 born=$2 groups=$1
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
