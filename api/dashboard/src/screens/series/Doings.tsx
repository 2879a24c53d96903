import { api } from "../../api/client";
import type { SweepDetail } from "../../api/types";
import { useShortcut } from "../../shell/shortcuts";
import { t } from "../../texts";
import { Button } from "../../ui/Button";
import { confirm } from "../../ui/confirm";
import { Icon } from "../../ui/Icon";
import { toast, toastProblem } from "../../ui/toast";
import { endedOf, isOver, jobsOf } from "./words";

const words = t.series.doings;
type Doing = "pause" | "resume" | "cancel";

/** What can be done with all runs of a series at once. */
export function Doings({ sweep, again }: { sweep: SweepDetail; again: () => void }) {
  const act = (doing: Doing): void => void done(sweep, doing, again).catch(toastProblem);
  const open = !isOver(sweep) && sweep.intent !== "cancel";
  const rests = sweep.intent === "pause";
  useShortcut("x", rests ? words.resume : words.pause, () => open && act(rests ? "resume" : "pause"));
  if (!open) return null;
  return (
    <>
      {rests
        ? <Button onClick={() => act("resume")}><Icon name="play" />{words.resume}</Button>
        : <Button onClick={() => act("pause")}><Icon name="pause" />{words.pause}</Button>}
      <Button onClick={() => act("cancel")}><Icon name="stop" />{words.cancel}</Button>
    </>
  );
}

async function done(sweep: SweepDetail, doing: Doing, again: () => void): Promise<void> {
  const left = jobsOf(sweep) - endedOf(sweep);
  if (doing === "pause" && !(await confirm({ title: words.pauseTitle, consequence: words.pauseSays(left), action: words.pause }))) return;
  if (doing === "cancel" && !(await confirm({ title: words.cancelTitle, consequence: words.cancelSays(left), action: words.cancel, danger: true }))) return;
  await api.post(`/sweeps/{sweep_id}/${doing}`, { path: { sweep_id: sweep.id } });
  toast(words.said[doing]);
  again();
}
