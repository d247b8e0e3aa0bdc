// SPDX-License-Identifier: GPL-2.0-only

package nft

import "fmt"

// VerdictCode is a verdict: NF_* or NFT_*.
type VerdictCode int32

// The verdicts.
const (
	VerdictDrop     VerdictCode = 0
	VerdictAccept   VerdictCode = 1
	VerdictQueue    VerdictCode = 3
	VerdictContinue VerdictCode = -1
	VerdictBreak    VerdictCode = -2
	VerdictJump     VerdictCode = -3
	VerdictGoto     VerdictCode = -4
	VerdictReturn   VerdictCode = -5
)

// String returns the verdict as nft writes it.
func (v VerdictCode) String() string {
	switch v {
	case VerdictDrop:
		return "drop"
	case VerdictAccept:
		return "accept"
	case VerdictQueue:
		return "queue"
	case VerdictContinue:
		return "continue"
	case VerdictBreak:
		return "break"
	case VerdictJump:
		return "jump"
	case VerdictGoto:
		return "goto"
	case VerdictReturn:
		return "return"
	}
	return fmt.Sprintf("verdict %d", int32(v))
}

// Verdict is a verdict with the chain that jump and goto name.
type Verdict struct {
	Code  VerdictCode
	Chain string
}
