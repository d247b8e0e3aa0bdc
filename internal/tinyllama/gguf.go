// SPDX-License-Identifier: GPL-2.0-only

package tinyllama

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
)

// WriteModel writes a GGUF file with a model of random weights that is as small as can be: it
// answers, with nonsense of lower-case letters. The format is that of ggml's docs/gguf.md.
func WriteModel(path string) error {
	tokens, kinds := vocabulary()
	g := &gguf{rand: rand.New(rand.NewPCG(1, 2))}
	g.text("general.architecture", "llama")
	for key, n := range map[string]uint32{
		"context_length": 256, "embedding_length": width, "block_count": 1, "feed_forward_length": 2 * width, "attention.head_count": 2,
		"rope.dimension_count": width / 2, "vocab_size": uint32(len(tokens)),
	} {
		g.number("llama."+key, n)
	}
	g.real("llama.attention.layer_norm_rms_epsilon", 1e-5)
	g.text("tokenizer.ggml.model", "llama")
	g.key("tokenizer.ggml.tokens", typeArray)
	put(&g.head, typeString, uint64(len(tokens)))
	for _, w := range tokens {
		g.string(w)
	}
	g.key("tokenizer.ggml.scores", typeArray)
	put(&g.head, typeFloat, uint64(len(tokens)), make([]float32, len(tokens)))
	g.key("tokenizer.ggml.token_type", typeArray)
	put(&g.head, typeInt, uint64(len(kinds)), kinds)
	g.number("tokenizer.ggml.bos_token_id", 1)
	g.number("tokenizer.ggml.eos_token_id", 2)

	// The first of a token's numbers is large and stays: so the output can rule out what is no letter.
	n := len(tokens)
	g.tensor("token_embd.weight", width, n, func(col, _ int) float32 {
		if col == 0 {
			return 4
		}
		return g.random()
	})
	g.tensor("output.weight", width, n, func(col, row int) float32 {
		if col == 0 && kinds[row] != kindNormal {
			return -50
		}
		return g.random()
	})
	one := func(int, int) float32 { return 1 }
	free := func(int, int) float32 { return g.random() }
	keep := func(_, row int) float32 {
		if row == 0 {
			return 0
		}
		return g.random()
	}
	g.tensor("output_norm.weight", width, 0, one)
	g.tensor("blk.0.attn_norm.weight", width, 0, one)
	g.tensor("blk.0.ffn_norm.weight", width, 0, one)
	for _, name := range []string{"attn_q", "attn_k", "attn_v"} {
		g.tensor("blk.0."+name+".weight", width, width, free)
	}
	g.tensor("blk.0.attn_output.weight", width, width, keep)
	g.tensor("blk.0.ffn_gate.weight", width, 2*width, free)
	g.tensor("blk.0.ffn_up.weight", width, 2*width, free)
	g.tensor("blk.0.ffn_down.weight", 2*width, width, keep)
	return os.WriteFile(path, g.file(), 0o644)
}

// width is how many numbers a token has.
const width = 64

// Kinds of tokens.
const (
	kindNormal  = int32(1)
	kindUnknown = int32(2)
	kindControl = int32(3)
	kindByte    = int32(6)
)

// vocabulary is letters and all bytes.
func vocabulary() (tokens []string, kinds []int32) {
	add := func(kind int32, s string) { tokens, kinds = append(tokens, s), append(kinds, kind) }
	add(kindUnknown, "<unk>")
	add(kindControl, "<s>")
	add(kindControl, "</s>")
	for b := range 256 {
		add(kindByte, fmt.Sprintf("<0x%02X>", b))
	}
	for c := 'a'; c <= 'z'; c++ {
		add(kindNormal, string(c))
	}
	return tokens, kinds
}

// Types of values.
const (
	typeUint   = uint32(4)
	typeInt    = uint32(5)
	typeFloat  = uint32(6)
	typeString = uint32(8)
	typeArray  = uint32(9)
)

const alignment = 32

// gguf is a file that is being made.
type gguf struct {
	rand              *rand.Rand
	head, infos, data bytes.Buffer
	keys, tensors     uint64
}

// put writes values in the file's byte order.
func put(b *bytes.Buffer, values ...any) {
	for _, v := range values {
		if err := binary.Write(b, binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
}

func (g *gguf) string(s string) {
	put(&g.head, uint64(len(s)))
	g.head.WriteString(s)
}

func (g *gguf) key(name string, kind uint32) {
	g.keys++
	g.string(name)
	put(&g.head, kind)
}

func (g *gguf) text(name, s string)          { g.key(name, typeString); g.string(s) }
func (g *gguf) number(name string, n uint32) { g.key(name, typeUint); put(&g.head, n) }
func (g *gguf) real(name string, x float32)  { g.key(name, typeFloat); put(&g.head, x) }
func (g *gguf) random() float32              { return float32(g.rand.NormFloat64() / 4) }

// tensor adds one of columns and rows, or of columns alone.
func (g *gguf) tensor(name string, columns, rows int, value func(col, row int) float32) {
	g.tensors++
	put(&g.infos, uint64(len(name)))
	g.infos.WriteString(name)
	if rows == 0 {
		put(&g.infos, uint32(1), uint64(columns))
		rows = 1
	} else {
		put(&g.infos, uint32(2), uint64(columns), uint64(rows))
	}
	put(&g.infos, uint32(0), uint64(g.data.Len())) // 32-bit floats
	for row := range rows {
		for col := range columns {
			put(&g.data, value(col, row))
		}
	}
	pad(&g.data)
}

func pad(b *bytes.Buffer) {
	for b.Len()%alignment != 0 {
		b.WriteByte(0)
	}
}

func (g *gguf) file() []byte {
	var b bytes.Buffer
	b.WriteString("GGUF")
	put(&b, uint32(3), g.tensors, g.keys)
	b.Write(g.head.Bytes())
	b.Write(g.infos.Bytes())
	pad(&b)
	b.Write(g.data.Bytes())
	return b.Bytes()
}
