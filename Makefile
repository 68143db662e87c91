# The short names; what they do is in scripts/. ARGS passes arguments on: make test ARGS="-p stockroom-catalog a_name"

ARGS ?=

.PHONY: help run test torture planted fuzz lint audit bench bench-micro bench-scale bench-check

help:
	@echo 'make run       build and serve on http://127.0.0.1:8080 with sample models (SQLite, ./data)'
	@echo 'make test      all tests; sets up PostgreSQL and Garage for itself'
	@echo 'make torture   the same, the long proofs, fuzzing and the planted bugs'
	@echo 'make planted   shows that bugs in what always holds turn tests red'
	@echo 'make fuzz      inputs that libFuzzer makes up, a minute for each target'
	@echo 'make lint      formatting, clippy, licences, documentation, tidiness'
	@echo 'make audit     known vulnerabilities of the dependencies (needs GitHub)'
	@echo 'make bench     Stockroom beside Express, nginx, rclone and s5cmd, into docs/performance.md, after what its own parts cost'
	@echo 'make bench-micro  hashing, signing, the gate, ranges, format checks and writing, by Criterion'
	@echo 'make bench-scale  10,000,000 objects beside 100,000 on SQLite and PostgreSQL; takes 15 GB and a quarter of an hour'
	@echo 'make bench-check  measures beside Express and nginx again, and names what fell behind docs/performance.json'

# The development profile: nothing is optimised but hashing, so the first start comes soonest, and `make test` uses the
# same artefacts. Production is `cargo build --release`.
run:
	cargo run --locked --bin stockroom -- serve --sample-data $(ARGS)

test:
	scripts/test $(ARGS)

# With ARGS only the chosen tests run, no fuzzing and no planted bugs.
torture:
	STOCKROOM_TORTURE=1 scripts/test $(ARGS)
	$(if $(ARGS),,scripts/fuzz)
	$(if $(ARGS),,scripts/planted)

planted:
	scripts/planted $(ARGS)

fuzz:
	scripts/fuzz $(ARGS)

lint:
	scripts/lint

audit:
	scripts/lint audit

bench: bench-micro
	cargo bench --locked --package stockroom --bench hybrid $(ARGS)
	cargo bench --locked --package stockroom --bench receipts $(ARGS)
	$(if $(ARGS),,scripts/bench --write docs/performance.md)

bench-micro:
	cargo bench --locked --package stockroom-storage --bench hot_paths $(ARGS)
	cargo bench --locked --package stockroom --bench micro $(ARGS)

bench-scale:
	scripts/bench scale --rounds 3 --seconds 2 --write docs/performance.md $(ARGS)

# Fails no build: timing is no test.
bench-check:
	scripts/bench --check $(ARGS)
