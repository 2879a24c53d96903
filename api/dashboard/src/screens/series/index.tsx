import type { ScreenProps } from "../../screens";
import { List } from "./List";
import { One } from "./One";
import "./series.css";

/** All series, or one of them. */
export default function Series({ params }: ScreenProps) {
  const id = params["sweep"];
  return id ? <One id={id} /> : <List />;
}
