import { useEffect } from "preact/hooks";
import { usePlace } from "../router";
import { Store, useStore } from "../store";
import { t } from "../texts";
import { Button } from "./Button";
import { Dialog } from "./Dialog";

interface Question {
  title: string;
  /** What happens then, named: what is lost, what goes on. */
  consequence: string;
  /** The word on the button: the thing itself, never "OK". */
  action: string;
  danger?: boolean;
}

const asked = new Store<(Question & { answer: (yes: boolean) => void }) | undefined>(undefined);

/** `if (await confirm({ title, consequence, action, danger: true })) …` */
export function confirm(question: Question): Promise<boolean> {
  asked.get()?.answer(false);
  return new Promise((done) => {
    const answer = (yes: boolean): void => {
      asked.set(undefined);
      done(yes);
    };
    asked.set({ ...question, answer });
  });
}

export function ConfirmHost() {
  const now = useStore(asked);
  const { path } = usePlace();
  useEffect(() => () => asked.get()?.answer(false), [path]); // it asks of a page that one has left
  return (
    <Dialog open={now !== undefined} title={now?.title ?? ""} onClose={() => now?.answer(false)}>
      <p>{now?.consequence}</p>
      <div class="actions">
        <Button onClick={() => now?.answer(false)}>{t.back}</Button>
        <Button kind={now?.danger ? "danger" : "primary"} onClick={() => now?.answer(true)}>{now?.action}</Button>
      </div>
    </Dialog>
  );
}
