# shellcheck shell=bash
# A single node of Garage (https://garagehq.deuxfleurs.fr), the S3 server that tests and people by hand use: own
# folder, loopback only, random ports and secrets, gone afterwards. Needs common.sh.

GARAGE_VERSION=2.5.0

# start_garage: compiles Garage when it is not in the cache yet and starts a node with one bucket and one key that may
# do everything. Leaves $garage_program, $garage_endpoint, $garage_region, $garage_bucket, $garage_key_id and $garage_application_key,
# or returns false with the reason in $garage_problem.
# shellcheck disable=SC2034  # The variables are read by the scripts that source this file.
start_garage() {
    garage_problem=""
    local garage
    garage=$(cargo_tool garage "$GARAGE_VERSION" --no-default-features --features sqlite,bundled-libs) || {
        garage_problem="cargo could not install Garage $GARAGE_VERSION from crates.io"
        return 1
    }
    garage_program=$garage
    make_scratch
    local folder="$scratch/garage" log="$scratch/garage.log" s3_port rpc_port
    s3_port=$(free_port)
    rpc_port=$(free_port)
    garage_endpoint="http://127.0.0.1:$s3_port"
    garage_region=garage
    garage_bucket=stockroom-test
    garage_key_id="GK$(random_hex 12)"
    garage_application_key=$(random_hex 32)
    mkdir -m 700 "$folder"
    cat >"$folder/garage.toml" <<TOML
metadata_dir = "$folder/meta"
data_dir = "$folder/data"
db_engine = "sqlite"
replication_factor = 1
disable_scrub = true
rpc_bind_addr = "127.0.0.1:$rpc_port"
rpc_public_addr = "127.0.0.1:$rpc_port"

[s3_api]
api_bind_addr = "127.0.0.1:$s3_port"
s3_region = "$garage_region"
TOML

    # The node makes its own layout, bucket and key before it opens the S3 port. Secrets go by the environment, because
    # everyone can read the arguments of a process.
    local GARAGE_RPC_SECRET GARAGE_DEFAULT_BUCKET GARAGE_DEFAULT_ACCESS_KEY GARAGE_DEFAULT_SECRET_KEY
    GARAGE_RPC_SECRET=$(random_hex 32)
    GARAGE_DEFAULT_BUCKET=$garage_bucket
    GARAGE_DEFAULT_ACCESS_KEY=$garage_key_id
    GARAGE_DEFAULT_SECRET_KEY=$garage_application_key
    export GARAGE_RPC_SECRET GARAGE_DEFAULT_BUCKET GARAGE_DEFAULT_ACCESS_KEY GARAGE_DEFAULT_SECRET_KEY
    start_backend "$log" INT "$garage" -c "$folder/garage.toml" server --single-node --default-bucket
    wait_until 30 "$backend_pid" garage_answers "$garage" "$folder/garage.toml" "$s3_port" || {
        garage_problem="the node did not start: $(grep -m 2 -A 1 -E 'ERROR|panicked' "$log")"
        return 1
    }
}

# The time limit is for the case that another program took the port in the meantime and says nothing.
garage_answers() {
    (: <>"/dev/tcp/127.0.0.1/$3") && timeout 5 "$1" -c "$2" health
}
