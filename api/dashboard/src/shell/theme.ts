// Light or dark: as the system has it, unless somebody chose.
import { remembered } from "../store";

export const theme = remembered("neftune.theme", "system");

function apply(chosen: string): void {
  if (chosen === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = chosen;
}

apply(theme.get());
theme.watch(apply);
