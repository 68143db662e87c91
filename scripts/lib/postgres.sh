# shellcheck shell=bash
# A PostgreSQL cluster for one run: own folder, loopback only, random port and password, gone afterwards. The
# system's own clusters are never touched. Needs common.sh.

# What the server is told beside the rest, such as -c shared_buffers=1GB.
postgres_options=()

# start_postgres: leaves the address of an empty database in $postgres_url, or returns false with the
# reason in $postgres_problem.
start_postgres() {
    postgres_problem=""
    postgres_bin=$(find_postgres) || {
        postgres_problem="no initdb found; install the Debian package postgresql"
        return 1
    }
    make_scratch
    local folder="$scratch/postgres" log="$scratch/postgres.log" port password
    port=$(free_port)
    password=$(random_hex 16)
    mkdir -m 700 "$folder"
    printf '%s\n' "$password" >"$folder/password"

    # PostgreSQL refuses to run as root; nobody owns nothing else.
    local as=()
    if [ "$(id -u)" = 0 ]; then
        chown -R nobody: "$folder"
        as=(--reuid nobody --regid "$(id -g nobody)" --clear-groups)
    fi

    # Where it can be had, the collation is a language's and not the order of bytes: a query that needs the order
    # of bytes has to say so itself, as on a server in production.
    local collation=(--locale=C.UTF-8)
    if "$postgres_bin/initdb" --help | grep -q icu-locale; then
        collation+=(--locale-provider=icu --icu-locale=en-US)
    fi
    (
        cd "$folder"
        setpriv ${as[@]+"${as[@]}"} "$postgres_bin/initdb" --pgdata="$folder/data" --username=stockroom \
            --pwfile="$folder/password" --auth=scram-sha-256 --encoding=UTF8 "${collation[@]}" --no-sync
    ) >"$log" 2>&1 </dev/null || {
        postgres_problem="initdb failed: $(tail -n 3 "$log")"
        return 1
    }

    # The data need not outlive the run, so nothing waits for the disk.
    start_backend "$log" INT ${as[@]+"${as[@]}"} "$postgres_bin/postgres" -D "$folder/data" \
        -c listen_addresses=127.0.0.1 -c port="$port" -c unix_socket_directories="$folder" \
        -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200 \
        ${postgres_options[@]+"${postgres_options[@]}"}
    wait_until 30 "$backend_pid" env PGPASSWORD="$password" PGCONNECT_TIMEOUT=5 \
        "$postgres_bin/psql" --host=127.0.0.1 --port="$port" --username=stockroom --dbname=postgres \
        --no-psqlrc --command='CREATE DATABASE stockroom' || {
        postgres_problem="the server did not start: $(tail -n 3 "$log")"
        return 1
    }
    # shellcheck disable=SC2034  # Read by the scripts that source this file.
    postgres_url="postgres://stockroom:$password@127.0.0.1:$port/stockroom"
}

# Prints the folder with initdb, postgres and psql; Debian keeps them off the PATH. Installs them where that is possible.
find_postgres() {
    local candidate
    for candidate in "$(newest_debian_postgres)" "$(dirname "$(command -v initdb || echo /nowhere/x)")"; do
        if [ -x "$candidate/initdb" ] && [ -x "$candidate/postgres" ] && [ -x "$candidate/psql" ]; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    apt_install postgresql && newest_debian_postgres
}

newest_debian_postgres() {
    local folder
    for folder in /usr/lib/postgresql/*/bin; do
        if [ -x "$folder/initdb" ]; then printf '%s\n' "$folder"; fi
    done | sort -V | tail -n 1
}
