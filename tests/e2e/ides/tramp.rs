//! Emacs' TRAMP, which drives a login shell on a terminal of type `dumb` by its prompt.

use crate::harness::{Laptop, Product, has_agents, is_installed, skip_unless};

/// Files both ways, a program with its status, and a sudden end.
const PROGRAM: &str = r#"
(require 'tramp)
(let ((there "/ssh:pod:~/there") (coding-system-for-read 'binary) (coding-system-for-write 'binary))
  (copy-file "up" there t)
  (copy-file there "back" t)
  (message "size:%s." (file-attribute-size (file-attributes there)))
  (write-region "written\n" nil "/ssh:pod:~/a name")
  (with-temp-buffer
    (setq default-directory "/ssh:pod:~/")
    (message "status:%s." (process-file "sh" nil t nil "-c" "echo 'two  words'; exit 3"))
    (message "output:%s." (buffer-string))))
(signal-process (emacs-pid) 'KILL)
"#;

/// Such a shell was left to the user's next login, whose prompt was TRAMP's and whose terminal did not echo; and the
/// next TRAMP waited for a prompt in vain.
#[tokio::test]
async fn tramp_edits_and_leaves_its_shell_to_nobody() {
    skip_unless!(has_agents(), "the pods have no agent");
    skip_unless!(is_installed("emacs"), "emacs-nox is not installed");
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let laptop = Laptop::new(&alice, product.front());
    let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(300_001).collect();
    laptop.write("up", &bytes);
    laptop.write("program.el", PROGRAM);
    for _ in 0..2 {
        let tramp = laptop.run("emacs", &["--batch", "-Q", "-l", "program.el"]).await;
        tramp.says("size:300001.\n").says("status:3.\n").says("output:two  words\n.\n");
        assert!(laptop.holds("back", &bytes));
    }
    alice.ssh("cat 'a name'").run().await.exits(0).prints("written\n");
    let mut terminal = alice.shell().terminal(24, 80);
    terminal.types("echo new:$((40+2)); exit\r").await;
    terminal.shows_row("new:42").await;
    assert!(!terminal.rows().join("\n").contains("the shell you left"));
    terminal.exits(0).await;
}
