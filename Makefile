# The commands of a developer; `make help` explains them.
# All of them work on a fresh Debian 12 that has only git and make.

.DEFAULT_GOAL := help
.PHONY: help packages run stop reset status manage simulate shell database test transient soak soak-simulated fuzz drill check format messages

# Python 3.11 or later; it needs nothing installed but itself.
PYTHON ?= python3
LOCAL = $(PYTHON) -m deploy.local
ARGS ?=
CYCLES ?= 100
SEED ?= 1
CALLS ?= 10000

help: ## Show this text
	@echo 'gpucloud: make TARGET'
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

packages: ## Install the Debian packages that are missing (apt, as root or through sudo)
	@sh deploy/local/packages.sh

run: packages ## Start all: PostgreSQL, a virtual GPU host, web server, worker; prints the address
	@$(LOCAL) up

stop: ## End exactly what `make run` started; the data stays
	@$(LOCAL) down

reset: ## Stop, and delete all data, secrets and images of the virtual host (.local/)
	@$(LOCAL) reset

status: ## Show what runs; exit status 0 if all does
	@$(LOCAL) status

manage: ## Run manage.py with the local environment, e.g. make manage ARGS="showmigrations"
	@$(LOCAL) manage $(ARGS)

simulate: ## Enrol simulated hosts beside the virtual one, e.g. ARGS="50 --board 2x4 --delay start=1s"
	@$(LOCAL) simulate $(ARGS)

shell: ## Open Django's shell with the local environment
	@$(LOCAL) manage shell

database: packages ## Start PostgreSQL alone and print its URL (ARGS=NAME: of a database so named)
	@$(LOCAL) database $(ARGS)

test: packages ## Run all tests on PostgreSQL and a virtual GPU host (ARGS="tests/flags -x" for pytest)
	@$(LOCAL) test $(ARGS)

transient: packages ## The foreign clients' tests with hosts that take 20 s, so that all states are seen
	@GPUCLOUD_COMPAT_START_S=20 $(LOCAL) test tests/compat $(ARGS)

soak: packages ## Do verbs with faults at random on the virtual host (CYCLES=100 SEED=1), then look for what is left
	@GPUCLOUD_SOAK_CYCLES=$(CYCLES) GPUCLOUD_SOAK_SEED=$(SEED) $(LOCAL) test tests/e2e/test_soak.py -o log_cli=true --log-cli-level=INFO

soak-simulated: packages ## Live through half a year on simulated hosts (CYCLES=10000 SEED=1), then look at every table
	@GPUCLOUD_HALF_A_YEAR_CYCLES=$(CYCLES) GPUCLOUD_HALF_A_YEAR_SEED=$(SEED) $(LOCAL) test tests/half_a_year -o log_cli=true --log-cli-level=INFO

fuzz: packages ## Compare the answers to made-up requests with the OpenAPI document (CALLS=10000 SEED=1)
	@GPUCLOUD_FUZZ_CALLS=$(CALLS) GPUCLOUD_FUZZ_SEED=$(SEED) $(LOCAL) test tests/api/test_fuzz.py -rP --show-capture=stdout --tb=short

drill: packages ## Install by docs/install.md in an empty folder, upgrade under load, lose a machine (ARGS="--from REF")
	@$(LOCAL) drill $(ARGS)

check: packages ## Run ruff, mypy, import-linter, the migrations' check and Django's deploy check
	@$(LOCAL) check

messages: packages ## Collect the staff site's texts for translation (ARGS=de; ARGS=--compile; needs gettext)
	@$(LOCAL) manage messages $(ARGS)

format: packages ## Format the code and repair what ruff can
	@$(LOCAL) format
