// SPDX-License-Identifier: GPL-2.0-only

package climanual

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Shells are those that there is completion for.
var Shells = []string{"bash", "zsh", "fish"}

// Script is what a shell reads to complete a program's command line. The program
// itself says what can come next, by its command "complete".
func Script(shell, name string) (string, error) {
	script, ok := scripts[shell]
	if !ok {
		return "", fmt.Errorf("%s: want one of %s", shell, strings.Join(Shells, ", "))
	}
	return strings.ReplaceAll(script, "NAME", name), nil
}

// scripts call NAME complete with the words before the cursor, the last one as far as
// it is written. The answer has a word a line, a tab and its meaning; or a line
// ":files".
var scripts = map[string]string{
	"bash": `# SPDX-License-Identifier: GPL-2.0-only
_NAME() {
	local IFS=$'\n' line
	local cur=${COMP_WORDS[COMP_CWORD]} list=()
	COMPREPLY=()
	for line in $(NAME complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null); do
		if [[ $line == :files ]]; then
			compopt -o filenames 2>/dev/null
			COMPREPLY=($(compgen -f -- "$cur"))
			return
		fi
		list+=("${line%%$'\t'*}")
	done
	COMPREPLY=("${list[@]}")
}
complete -F _NAME NAME
`,
	"zsh": `#compdef NAME
# SPDX-License-Identifier: GPL-2.0-only
_NAME() {
	local line
	local -a list
	for line in "${(@f)$(NAME complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
		if [[ $line == :files ]]; then
			_files
			return
		fi
		[[ -n $line ]] && list+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
	done
	_describe NAME list
}
if [[ ${zsh_eval_context[-1]} == loadautofunc ]]; then _NAME "$@"; else compdef _NAME NAME; fi
`,
	"fish": `# SPDX-License-Identifier: GPL-2.0-only
function __NAME_complete
	set -l words (commandline -opc) (commandline -ct)
	for line in (NAME complete -- $words[2..] 2>/dev/null)
		if test "$line" = :files
			__fish_complete_path (commandline -ct)
		else
			echo $line
		end
	end
end
complete -c NAME -f -a '(__NAME_complete)'
`,
}

// Complete are the words that can come in the place of the last one, each with a tab
// and its meaning; or ":files".
func Complete(app *kong.Application, words []string) []string {
	if len(words) == 0 {
		words = []string{""}
	}
	c := &completion{node: app.Node, last: words[len(words)-1]}
	for _, w := range words[:len(words)-1] {
		c.past(w)
	}
	switch {
	case c.value != nil:
		c.values(c.value)
	case strings.HasPrefix(c.last, "--") && strings.Contains(c.last, "="):
		name, last, _ := strings.Cut(c.last, "=")
		if f := c.flag(name); f != nil {
			c.last, c.before = last, name+"="
			c.values(f.Value)
		}
	case strings.HasPrefix(c.last, "-"):
		c.flags()
	default:
		c.words()
	}
	return c.out
}

type completion struct {
	node   *kong.Node
	args   int         // arguments before the cursor
	value  *kong.Value // of a flag, that the last word is
	last   string
	before string // what of the last word is not of the value
	out    []string
}

// past takes a word before the cursor.
func (c *completion) past(w string) {
	if c.value != nil {
		c.value = nil
		return
	}
	if strings.HasPrefix(w, "-") {
		if f := c.flag(w); f != nil && !f.IsBool() {
			c.value = f.Value
		}
		return
	}
	for _, child := range c.node.Children {
		if child.Type == kong.CommandNode && (child.Name == w || slices.Contains(child.Aliases, w)) {
			c.node = child
			return
		}
	}
	c.args++
}

// nodes are where flags and arguments are taken from.
func (c *completion) nodes() []*kong.Node {
	var list []*kong.Node
	for n := c.node; n != nil; n = n.Parent {
		list = append(list, n)
	}
	if d := c.node.DefaultCmd; d != nil {
		list = append([]*kong.Node{d}, list...)
	}
	return list
}

func (c *completion) flag(word string) *kong.Flag {
	for _, n := range c.nodes() {
		for _, f := range n.Flags {
			if word == "--"+f.Name || f.Short != 0 && word == "-"+string(f.Short) || slices.Contains(f.Aliases, strings.TrimPrefix(word, "--")) {
				return f
			}
		}
	}
	return nil
}

func (c *completion) add(word, help string) {
	if strings.HasPrefix(word, c.last) {
		help, _, _ = strings.Cut(help, "\n")
		c.out = append(c.out, c.before+word+"\t"+help)
	}
}

func (c *completion) flags() {
	for _, n := range c.nodes() {
		for _, f := range n.Flags {
			if !f.Hidden {
				c.add("--"+f.Name, f.Help)
			}
		}
	}
}

// words are commands, or the values of an argument.
func (c *completion) words() {
	if c.args == 0 {
		for _, child := range c.node.Children {
			if child.Type == kong.CommandNode && !child.Hidden {
				c.add(child.Name, child.Help)
			}
		}
	}
	for _, n := range c.nodes() {
		for i, a := range n.Positional {
			if i == c.args || i < c.args && a.IsCumulative() {
				c.values(a)
				return
			}
		}
	}
}

// values are those of a flag or an argument: by its enum, its type, or the tag
// complete.
func (c *completion) values(v *kong.Value) {
	switch {
	case v.Enum != "":
		for _, e := range v.EnumSlice() {
			c.add(e, "")
		}
	case v.Tag.Get("complete") == "interface":
		links, err := net.Interfaces()
		if err != nil {
			return
		}
		for _, l := range links {
			c.add(l.Name, "")
		}
	case v.Tag.Type == "path" || strings.HasPrefix(v.Tag.Type, "existing"):
		c.out = append(c.out, ":files")
	}
}
