import { useState } from "preact/hooks";
import { Button } from "../ui/Button";
import { Field } from "../ui/Field";
import { t } from "../texts";
import { signIn } from "./session";
import mark from "../mark.svg";

/** Asks for a key. The address stays, so that one is where one wanted to be. */
export function SignIn({ why }: { why: string }) {
  const [key, setKey] = useState("");
  const [busy, setBusy] = useState(false);
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    await signIn(key);
    setBusy(false);
  };
  return (
    <main class="sign-in">
      <form onSubmit={(event) => void submit(event)}>
        <img src={mark} alt="" width="40" height="40" />
        <h1>{t.signIn.title}</h1>
        <Field label={t.signIn.key} hint={<>{t.signIn.hint} <code>{t.signIn.place}</code></>} error={why}>
          {(its) => (
            <input {...its} autofocus type="password" autocomplete="current-password" required value={key}
              onInput={(event) => setKey(event.currentTarget.value)} />
          )}
        </Field>
        <Button kind="primary" type="submit" busy={busy}>{t.signIn.submit}</Button>
      </form>
    </main>
  );
}
