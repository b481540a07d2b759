# Each target is a script under scripts/, which says in its first lines what it does.
.PHONY: help demo demo-down demo-env run test lint bench prepare

help:
	@echo 'make demo       the whole product on this machine, with a cluster of its own (KUBECONFIG=… uses yours)'
	@echo 'make demo-down  stop it      make -s demo-env   its address, login and cluster as shell exports'
	@echo 'make run        the server alone'
	@echo 'make test       every test: units, flows, content, browser   make lint   formatting, clippy, scripts'
	@echo 'make bench      measurements   make prepare   renew .sqlx after a changed query or migration'

demo:
	@scripts/demo

demo-down:
	@scripts/demo down

demo-env:
	@scripts/demo env

run:
	@scripts/run

test:
	@scripts/test

lint:
	@scripts/lint

bench:
	@scripts/bench

prepare:
	@scripts/prepare
