# A throw-away Postgres: nothing in it outlives the script that starts it. To be sourced after progress.sh.
# shellcheck shell=bash

postgres_folder=

postgres_programs() { # prints the folder of the newest installed Postgres programs
  local folder
  folder=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -1)
  [[ -n $folder ]] || fail "no Postgres: apt-get install postgresql"
  echo "$folder"
}

as_postgres() { # Postgres refuses to run as root
  if [[ $(id -u) == 0 ]]; then (cd / && runuser -u postgres -- "$@"); else "$@"; fi
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

start_postgres() { # starts one in a folder of its own and exports DATABASE_URL
  local programs port
  programs=$(postgres_programs)
  port=$(free_port)
  postgres_folder=$(mktemp -d /var/tmp/tidewaiter-postgres.XXXXXX)
  echo $$ >"$postgres_folder/owner"
  if [[ $(id -u) == 0 ]]; then chown postgres: "$postgres_folder"; fi
  quietly "initdb" as_postgres "$programs/initdb" -D "$postgres_folder/data" -U postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync
  quietly "starting Postgres" as_postgres "$programs/pg_ctl" -D "$postgres_folder/data" -l "$postgres_folder/log" -w start \
    -o "-c listen_addresses=127.0.0.1 -p $port -k $postgres_folder -c fsync=off -c full_page_writes=off -c synchronous_commit=off -c max_connections=300" 8>&- # 8: the lock of scripts/test, which this may outlive
  export DATABASE_URL=postgres://postgres@127.0.0.1:$port/postgres
}

stop_postgres() { # and forget all that was in it
  [[ -n $postgres_folder ]] || return 0
  as_postgres "$(postgres_programs)/pg_ctl" -D "$postgres_folder/data" -m immediate stop >/dev/null 2>&1 || true
  rm -rf "$postgres_folder"
  postgres_folder=
}

sweep_postgres() { # ends what a killed run left behind: a folder whose script has gone
  local folder owner
  for folder in /var/tmp/tidewaiter-postgres.*; do
    [[ -d $folder ]] || continue
    owner=$(cat "$folder/owner" 2>/dev/null || true)
    if [[ -n $owner && -d /proc/$owner ]]; then continue; fi
    postgres_folder=$folder
    stop_postgres
  done
}
