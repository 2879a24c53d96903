import { address, project, send } from "../../api/client";
import { keep } from "../../api/download";
import type { Artifact } from "../../api/types";
import { useStore } from "../../store";
import { t } from "../../texts";
import { Button } from "../../ui/Button";
import { Icon } from "../../ui/Icon";
import { toastProblem } from "../../ui/toast";

/** A link to a result. A link says no project, so an operator who looks into another has it fetched by the page. */
export function Download({ job, artifact, quiet, named }: { job: string; artifact: Artifact; quiet?: boolean; named?: string }) {
  const chosen = useStore(project);
  const path = `${address("/jobs/{job}/artifacts/", { job })}${artifact.name.split("/").map(encodeURIComponent).join("/")}`;
  const label = named ?? t.run.files.download(artifact.name);
  const words = <><Icon name="download" />{!quiet && label}</>;
  const fetched = async (): Promise<void> => keep(await (await send(`${path}?via=api`)).blob(), artifact.name.split("/").at(-1) ?? "file");
  if (chosen) return <Button kind={quiet ? "quiet" : "plain"} label={label} onClick={() => void fetched().catch(toastProblem)}>{words}</Button>;
  return <a class={quiet ? "button quiet" : "button"} href={path} download aria-label={label} title={label}>{words}</a>;
}
