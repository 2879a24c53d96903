import { api, project } from "../api/client";
import { useLoad } from "../api/load";
import type { Session } from "../api/types";
import { useStore } from "../store";
import { t } from "../texts";
import { toastProblem } from "../ui/toast";
import { choose } from "./session";

/** The project that is looked into. Only an operator has others to choose from. */
export function ProjectSwitch({ who }: { who: Session }) {
  const operator = who.key.scopes.includes("operator");
  return operator ? <Choice who={who} /> : <span class="project clip" title={who.project.name}>{who.project.name}</span>;
}

function Choice({ who }: { who: Session }) {
  const chosen = useStore(project);
  const all = useLoad((signal) => api.get("/projects", { query: { limit: 200 }, signal, ofAll: true }), []);
  const items = all.value?.items ?? [who.project];
  const switchTo = (id: string): void => void choose(id).catch(toastProblem);
  return (
    <select class="project" aria-label={t.project.label} value={chosen || who.project.id} onChange={(event) => switchTo(event.currentTarget.value)}>
      {items.map((one) => <option key={one.id} value={one.id}>{one.name}</option>)}
    </select>
  );
}
