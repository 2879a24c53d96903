import { t } from "../../texts";
import { Button } from "../../ui/Button";
import { Dialog } from "../../ui/Dialog";
import { Copy } from "../../ui/Text";

/** Something that is shown this once: a key, a secret. It lives in this dialog and nowhere else on the page. */
export function Made({ title, said, secret, onClose }: { title: string; said: string; secret: string | undefined; onClose: () => void }) {
  return (
    <Dialog open={secret !== undefined} title={title} onClose={onClose} firm strict>
      <p>{said}</p>
      <div class="settings-made"><code>{secret}</code><Copy text={secret ?? ""} /></div>
      <div class="actions"><Button kind="primary" onClick={onClose}>{t.settings.kept}</Button></div>
    </Dialog>
  );
}
