// SPDX-License-Identifier: GPL-2.0-only

package bench

// BPF_CFLAGS: see the generate target of the Makefile.
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "$BPF_CFLAGS" traffic bpf/traffic.c
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "$BPF_CFLAGS" redirect bpf/redirect.c
