//! What shells read at their start.

use clap_complete::Shell;
use clap_complete::env::Shells;

use super::super::failure::Failure;
use super::ASKED;
use crate::devctl::NAME;

pub(super) fn script(shell: Shell) -> Result<String, Failure> {
    let ours = match shell {
        Shell::Bash => Some(BASH),
        Shell::Zsh => Some(ZSH),
        Shell::Fish => Some(FISH),
        _ => None,
    };
    if let Some(ours) = ours {
        return Ok(ours.to_owned());
    }
    let name = shell.to_string();
    let shells = Shells::builtins();
    let known = shells.completer(&name).ok_or_else(|| Failure::new(format!("there is no completion for {name}")))?;
    let mut text = Vec::new();
    let written = known.write_registration(ASKED, NAME, NAME, NAME, &mut text);
    written.map_err(|error| Failure::new(format!("failed to write the script: {error}")))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Bash takes NAME:PATH apart at the colon, and wants only what is behind it.
const BASH: &str = r#"_clap_complete_devctl() {
    local IFS=$'\013' line=${COMP_LINE:0:COMP_POINT} rest word value prefix i
    local words=() found=() quoted= failed= globs=
    [[ ${COMP_WORDS[COMP_CWORD]} != [\'\"]* ]] || quoted=yes
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        rest=${line#"${line%%[![:space:]]*}"}
        if ((i == COMP_CWORD)) && [[ $word != :* ]]; then
            word=$2
        fi
        if ((i > 0)) && [[ $rest == "$line" ]] && [[ $word == :* || ${COMP_WORDS[i - 1]} == *: ]]; then
            words[${#words[@]} - 1]+=$word
        else
            words+=("$word")
        fi
        line=${rest#"${COMP_WORDS[i]}"}
    done
    local last=$((${#words[@]} - 1))
    words[last]=${words[last]//\\/}
    # A file there may be called what would be a pattern here.
    [[ $- == *f* ]] || globs=yes
    set -f
    found=( $( \
        _CLAP_IFS="$IFS" \
        _CLAP_COMPLETE_INDEX="$last" \
        COMPLETE=bash \
        devctl -- "${words[@]}" 2>/dev/null \
    ) ) || failed=yes
    [[ -z $globs ]] || set +f
    COMPREPLY=()
    if [[ -n $failed ]]; then
        return
    fi
    prefix=
    if [[ -z $quoted && $COMP_WORDBREAKS == *:* && ${words[last]} == *:* ]]; then
        prefix=${words[last]%"${words[last]##*:}"}
    fi
    for value in "${found[@]}"; do
        value=${value#"$prefix"}
        # Within quotes nothing more is quoted: what would end them or mean something there is left out.
        if [[ -n $quoted && $value == *[\\\'\"\$\`\!]* ]]; then
            continue
        fi
        if [[ -z $quoted && $value == *[[:space:]\\\'\"\$\&\;\(\)\<\>\|\*\?\[\`\!\#]* ]]; then
            printf -v value %q "$value"
        fi
        COMPREPLY+=("$value")
    done
    if ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} != *[=/:] ]]; then
        compopt +o nospace 2>/dev/null
    fi
}
complete -o nospace -o bashdefault -o nosort -F _clap_complete_devctl devctl 2>/dev/null ||
    complete -o nospace -o bashdefault -F _clap_complete_devctl devctl
"#;

const ZSH: &str = r#"#compdef devctl
function _clap_dynamic_completer_devctl() {
    local -a completions=("${(@f)$( \
        _CLAP_IFS=$'\n' \
        _CLAP_COMPLETE_INDEX=$((CURRENT - 1)) \
        COMPLETE=zsh \
        devctl -- "${(@Q)words}" 2>/dev/null \
    )}")
    [[ -n $completions ]] || return 1
    # What goes on behind a folder or a DevServer's name.
    local -a done_=() open=()
    local completion value
    for completion in $completions; do
        value=${completion//\\:/$'\1'}
        value=${value%%:*}
        if [[ $value == *[/$'\1'] ]]; then
            open+=("$completion")
        else
            done_+=("$completion")
        fi
    done
    (($#open)) && _describe -V 'values' open -S ''
    (($#done_)) && _describe -V 'values' done_
}
if [[ $funcstack[1] == _devctl ]]; then
    _clap_dynamic_completer_devctl "$@"
elif (($+functions[compdef])); then
    compdef _clap_dynamic_completer_devctl devctl
else
    autoload -Uz compinit && compinit && compdef _clap_dynamic_completer_devctl devctl
fi
"#;

const FISH: &str = r#"function __devctl_complete
    # As the word will be read, quotes and backslashes aside.
    set -l token (commandline --current-token --cut-at-cursor)
    set -l plain (string unescape -- "$token")
    or set plain (string trim --left --chars '\'"' -- "$token")
    COMPLETE=fish devctl -- (commandline --current-process --tokenize --cut-at-cursor) "$plain" 2>/dev/null
end
complete --keep-order --exclusive --command devctl --arguments '(__devctl_complete)'
"#;
