# SPDX-License-Identifier: GPL-2.0-only
#
#   make demo [KEEP=1]   a lab of network namespaces, the real l2d, real traffic
#   make test            every test
#
# Both install what they need (Debian 12 or 13, as root). See `make help`.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Where scripts/setup.sh puts Go, and where Debian keeps ip, nft and bpftool.
export PATH := /usr/local/go/bin:$(PATH):/usr/local/sbin:/usr/sbin:/sbin
export CGO_ENABLED ?= 0

GO ?= go
GOFILES = $(shell git ls-files -co --exclude-standard '*.go')
CFILES = $(shell git ls-files -co --exclude-standard '*.c' '*.h')
SHFILES = $(shell git ls-files -co --exclude-standard '*.sh') .ci/run scripts/deb/postinst scripts/deb/postrm scripts/deb/prerm
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GOBUILD = $(GO) build -trimpath -buildvcs=auto -ldflags '-s -w -X main.version=$(VERSION)'

# Packages whose tests share memory between goroutines, and those of their tests that do not: they
# stop one process at each of its steps, over and over.
STEPWISE = ^(TestEachStep|TestSteps|TestKilled|TestFails|TestWholePlan)$$
RACE ?= ./pkg/lab/path ./pkg/observe ./pkg/web ./pkg/api ./pkg/config ./pkg/enforce ./pkg/flow ./pkg/metrics ./loader ./cmd/... ./pkg/host ./pkg/reconcile

.PHONY: help
help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

.PHONY: demo
demo: setup-run build ## build, bring up the lab, run traffic, print what held (KEEP=1 leaves it up)
	bin/l2ctl lab run $(if $(filter-out 0 no,$(KEEP)),--keep)

.PHONY: test
test: setup-test ## install what the tests need and run them all
	$(GO) test -count=1 -timeout 25m ./...

.PHONY: test-race
test-race: setup-test ## the tests of concurrent packages under the race detector
	CGO_ENABLED=1 $(GO) test -count=1 -timeout 25m -race -skip '$(STEPWISE)' $(RACE)

.PHONY: fuzz-diff
fuzz-diff: setup-test ## random rulesets and packets through nftables and l2d, until they differ
	$(GO) test -count=1 -timeout 0 -run TestRandom -v ./pkg/lab/diff -diff.seed 0 -diff.forever -diff.packets 5000

.PHONY: fuzz-tracking
fuzz-tracking: setup-test ## random connections in all states, with wrong segments and errors, through nf_conntrack and l2d, until they differ
	$(GO) test -count=1 -timeout 0 -run TestTracking -v ./pkg/lab/diff -diff.seed 0 -diff.forever -diff.packets 5000

.PHONY: upgrade-test
upgrade-test: setup-test ## 1,000 connections and 100,000 packets a second through an upgrade that changes the layout of flows
	$(GO) test -count=1 -run TestUpgrade -v ./loader -upgrade.flows 1000 -upgrade.pps 100000

.PHONY: test-steps
test-steps: vm setup-test ## plans that fail, or are killed, at each step: 200 random ones, the dataplane with a service, a whole machine; hours
	$(GO) test -count=1 -timeout 0 -run TestEachStep -v ./pkg/host -host.plans 200 -host.rigs 16 -parallel 16
	scripts/vm/test.sh whole
	$(GO) test -count=1 -timeout 0 -run 'TestSteps$$' -v ./cmd/l2d -l2d.steps 1

.PHONY: vm
vm: setup-vm ## the kit of virtual machines with other kernels, from Debian's packages, in ~/.cache/l2d/vm
	scripts/vm/build.sh

.PHONY: test-vm
test-vm: vm ## the tests that another kernel can break, in virtual machines (VM="-k 6.12 examples": only these)
	scripts/vm/test.sh $(VM)

.PHONY: bench-l4s
bench-l4s: vm ## congestion controls over emulated paths, in virtual time, which a busy host makes slow (L4S="-n RUNS 'loss-*'")
	scripts/vm/l4s.sh $(L4S)

.PHONY: build
build: ## bin/l2d and bin/l2ctl, static
	$(GOBUILD) -o bin/ ./cmd/l2d ./cmd/l2ctl

.PHONY: install
install: build ## copy programs, unit and example to DESTDIR
	install -D -m 755 bin/l2d $(DESTDIR)/usr/sbin/l2d
	install -D -m 755 bin/l2ctl $(DESTDIR)/usr/sbin/l2ctl
	install -D -m 644 scripts/l2d.service $(DESTDIR)/usr/lib/systemd/system/l2d.service
	install -d $(DESTDIR)/usr/share/man/man8 $(DESTDIR)/usr/share/bash-completion/completions $(DESTDIR)/usr/share/l2d
	bin/l2d --man >$(DESTDIR)/usr/share/man/man8/l2d.8
	bin/l2ctl man >$(DESTDIR)/usr/share/man/man8/l2ctl.8
	install -d $(DESTDIR)/usr/share/zsh/site-functions $(DESTDIR)/usr/share/fish/vendor_completions.d
	bin/l2ctl completion bash >$(DESTDIR)/usr/share/bash-completion/completions/l2ctl
	bin/l2ctl completion zsh >$(DESTDIR)/usr/share/zsh/site-functions/_l2ctl
	bin/l2ctl completion fish >$(DESTDIR)/usr/share/fish/vendor_completions.d/l2ctl.fish
	bin/l2ctl schema >$(DESTDIR)/usr/share/l2d/l2d.schema.json
	install -D -m 644 -t $(DESTDIR)/usr/share/doc/l2d/examples/l2 examples/l2/l2d.yaml examples/l2/firewall.nft
	install -D -m 644 -t $(DESTDIR)/usr/share/doc/l2d/examples/monitoring examples/monitoring/*
	install -D -m 644 -t $(DESTDIR)/usr/share/doc/l2d/examples/hardened examples/hardened/l2d.yaml examples/hardened/firewall.nft

.PHONY: deb
deb: build ## a Debian package in bin/, the same bytes from the same sources
	scripts/deb/build.sh

.PHONY: test-deb
test-deb: ## build it twice and compare, install and purge it in a fresh trixie
	scripts/deb/test.sh

.PHONY: vendor-hash
vendor-hash: setup-test ## write the hash of the imported modules that Nix wants
	scripts/vendor-hash.sh

.PHONY: sbom
sbom: build ## what the programs were built from: bin/l2d.cdx.json, CycloneDX
	$(GO) run ./scripts/sbom bin/l2d bin/l2ctl >bin/l2d.cdx.json

.PHONY: generate
generate: setup-generate ## rebuild the eBPF objects with clang 19
	$(GO) generate ./...

.PHONY: generate-check
generate-check: generate ## fail when the committed objects are not those of the sources
	git diff --exit-code --stat -- $(GENERATED)
	@new=$$(git ls-files -o --exclude-standard -- $(GENERATED)); \
	if [ -n "$$new" ]; then echo "generated and not committed:" $$new >&2; exit 1; fi

GENERATED = '*.o' '*_bpfel.go'

.PHONY: docker-generate
docker-generate: ## rebuild the eBPF objects in the pinned container
	docker build -t l2d-build -f Dockerfile.build .
	docker run --rm -v "$(CURDIR):/src" -u "$$(id -u):$$(id -g)" l2d-build

# Where "make bench" puts its results.
RESULTS ?= bench-results

.PHONY: bench
bench: setup-bench build ## all of the following, in less than half an hour, and a page with what was found: RESULTS
	scripts/bench.sh $(RESULTS)

.PHONY: bench-quick
bench-quick: setup-run build ## bare XDP redirect, l2d and nftables, one core, 64-byte packets
	bin/l2ctl bench quick $(ARGS)

.PHONY: bench-cores
bench-cores: setup-run build ## what two packet cores forward, beside one, l2d and nftables
	bin/l2ctl bench cores $(ARGS)

.PHONY: bench-flows
bench-flows: setup-run build ## how fast flows begin, and what many of them cost, l2d and nftables
	bin/l2ctl bench flows $(ARGS)

.PHONY: bench-rules
bench-rules: setup-run build ## what a rule, a set and a map cost for a packet, l2d and nftables
	bin/l2ctl bench rules $(ARGS)

.PHONY: bench-load
bench-load: setup-run build ## how long rulesets take to be compiled and loaded, and their sets to be changed
	bin/l2ctl bench load $(ARGS)

.PHONY: bench-drops
bench-drops: setup-run build ## how fast what a blocklist of a million addresses has is dropped, l2d and nftables
	bin/l2ctl bench drops $(ARGS)

.PHONY: bench-looks
bench-looks: setup-run build ## what it costs to look at a router with 262,144 flows and 10,000 rules, and how long a scrape takes
	bin/l2ctl bench looks $(ARGS)

.PHONY: bench-tools
bench-tools: setup-bench build ## what iperf, netperf, flent, ping and others measure, l2d and nftables
	bin/l2ctl bench tools $(ARGS)

.PHONY: bench-services
bench-services: setup-bench build ## how long it takes from an apply to a host's first download, and leases a second
	bin/l2ctl bench services $(ARGS)

.PHONY: bench-micro
bench-micro: setup-run build ## how long the programs take for a packet on each of their paths
	bin/l2ctl bench micro $(ARGS)

.PHONY: costs
costs: setup-test ## accept what the programs cost on this kernel: instructions verified, bytes of native code
	$(GO) test -count=1 -run TestVerifierCost ./loader -loader.costs

.PHONY: docs
docs: setup-test ## write the table of docs/nftables.md anew
	$(GO) test -count=1 -run TestSupport ./pkg/policy -policy.update

.PHONY: fuzz
fuzz: setup-test ## fuzz all that reads from the kernel, from files, services and people, FUZZTIME (1m) each
	@for file in $$(git grep -l '^func Fuzz' -- '*_test.go'); do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' $$file); do \
			echo "== $$name of $$file"; \
			$(GO) test -run XXX -fuzz "^$$name\$$" -fuzztime $(or $(FUZZTIME),1m) ./$$(dirname $$file); \
		done; \
	done

.PHONY: lint
lint: setup-test ## gofmt, go vet, staticcheck, clang-format, sh -n
	@bad=$$(gofmt -l $(GOFILES)); if [ -n "$$bad" ]; then echo "gofmt:" $$bad >&2; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(if $(CFILES),clang-format-19 --dry-run --Werror $(CFILES))
	@for f in $(SHFILES); do bash -n $$f; done
	@bad=$$(for f in $(GOFILES) $(CFILES) $(SHFILES); do \
		head -n 3 $$f | grep -q 'SPDX-License-Identifier: GPL-2.0-only' || \
		head -n 1 $$f | grep -q '^// Code generated' || echo $$f; done); \
	if [ -n "$$bad" ]; then echo "no SPDX line:" $$bad >&2; exit 1; fi

.PHONY: fmt
fmt: ## format Go and C
	gofmt -w $(GOFILES)
	$(if $(CFILES),clang-format-19 -i $(CFILES))

.PHONY: setup-run setup-test setup-generate setup-vm setup-bench
setup-run setup-test setup-generate setup-vm setup-bench: setup-%:
	@scripts/setup.sh $*

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
