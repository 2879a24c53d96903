import type { ScreenProps } from "../../screens";
import "./datasets.css";
import { List } from "./List";
import { One } from "./One";

/** Rows to learn from: all datasets of the project, or one of them. */
export default function Datasets({ params }: ScreenProps) {
  const id = params["dataset"];
  return id === undefined ? <List /> : <One id={id} />;
}
