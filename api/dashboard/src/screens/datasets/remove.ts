import { api } from "../../api/client";
import type { Dataset } from "../../api/types";
import { t } from "../../texts";
import { confirm } from "../../ui/confirm";
import { toast } from "../../ui/toast";

const words = t.datasets;

/** Delete a dataset, if that is meant; tells whether it is gone. */
export async function removed(dataset: Dataset): Promise<boolean> {
  const asked = { title: words.removeTitle(dataset.name), consequence: words.removeSays(dataset.rows), action: words.remove, danger: true };
  if (!(await confirm(asked))) return false;
  await api.delete("/datasets/{dataset_id}", { path: { dataset_id: dataset.id } });
  toast(words.removed(dataset.name));
  return true;
}
