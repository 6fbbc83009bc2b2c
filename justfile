# The tasks of this repository; `just` lists them. CI (`.ci/run`) needs no `just` and runs the same commands.

[private]
default:
    @just --list --unsorted

# Format, lints as errors, house rules, licences and advisories
check:
    cargo fmt --check
    cargo clippy --all-targets --locked -- -D warnings
    cargo test --locked --test tidy
    cargo deny --locked check

# Every test: units, properties, and black-box tests over real sockets
test *ARGS:
    cargo test --locked {{ARGS}}

# Every simulation on SEEDS fresh seeds; a failing one prints how to replay it
sim SEEDS="16":
    cargo build --release --locked
    for file in simulations/*.toml simulations/found/[!.]*.toml; do case "$file" in *.plan.toml) continue;; esac; target/release/meridian sim run "$file" --seeds {{SEEDS}} || exit 1; done

# One simulation on one seed, event by event
replay FILE SEED:
    cargo run --release --locked -- sim replay {{FILE}} --seed {{SEED}} --trace

# Benchmarks
bench *ARGS:
    cargo bench --locked {{ARGS}}

# A three-region cluster on this machine, front door on port 8000
up *ARGS:
    cargo run --release --locked -- up {{ARGS}}
