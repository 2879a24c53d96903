import { render } from "preact";
import { App } from "./App";
import { begin } from "./shell/session";
import "./style/tokens.css";
import "./style/base.css";
import "./style/shell.css";
import "./style/ui.css";

void begin();
const root = document.getElementById("app");
if (root) render(<App />, root);
