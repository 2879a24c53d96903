import { useState } from "preact/hooks";
import { useStore } from "../store";
import { t } from "../texts";
import { Button } from "../ui/Button";
import { Dialog } from "../ui/Dialog";
import { shortcuts, shortcutsOn, useShortcut } from "./shortcuts";

/** The list behind `?`, and the switch for those whose software types single keys. */
export function ShortcutHelp() {
  const [open, setOpen] = useState(false);
  const all = useStore(shortcuts);
  const on = useStore(shortcutsOn) === "on";
  useShortcut("?", t.shortcuts.help, () => setOpen(true));
  return (
    <>
      <Button kind="quiet" label={t.shortcuts.open} onClick={() => setOpen(true)}><kbd>?</kbd></Button>
      <Dialog open={open} title={t.shortcuts.title} onClose={() => setOpen(false)}>
        <dl class="shortcuts">
          {all.map((one) => (
            <div key={one.keys}>
              <dt>{one.keys.split(" ").map((key) => <kbd key={key}>{key}</kbd>)}</dt>
              <dd>{one.label}</dd>
            </div>
          ))}
        </dl>
        <label class="check">
          <input type="checkbox" checked={on} onChange={(event) => shortcutsOn.set(event.currentTarget.checked ? "on" : "off")} />
          {t.shortcuts.on}
        </label>
      </Dialog>
    </>
  );
}
