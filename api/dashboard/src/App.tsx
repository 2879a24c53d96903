// From the address to a screen: whoever isn't signed in is asked to, the rest is loaded when it is wanted.
import { Component, type ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { project } from "./api/client";
import { ApiError, asProblem } from "./api/problem";
import { go, usePlace } from "./router";
import { find, type Screen } from "./screens";
import { session } from "./shell/session";
import { NavigationKeys, Shell } from "./shell/Shell";
import { SignIn } from "./shell/SignIn";
import "./shell/theme";
import { useStore } from "./store";
import { t } from "./texts";
import { ConfirmHost } from "./ui/confirm";
import { Link } from "./ui/Link";
import { Page } from "./ui/Page";
import { Empty, Failed, Loading } from "./ui/States";
import { toastProblem, Toasts } from "./ui/toast";

export function App() {
  const signed = useStore(session);
  if (signed.state === "unknown") return <Loading />;
  if (signed.state === "away") return <main class="sign-in"><Failed title={t.signIn.away} problem={signed.problem} again={signed.again} /></main>;
  if (signed.state === "out") return <SignIn why={signed.why} />;
  return (
    <>
      <Shell who={signed.who}><Place /></Shell>
      <NavigationKeys />
      <ConfirmHost />
      <Toasts />
    </>
  );
}

function Place() {
  const { path } = usePlace();
  const chosen = useStore(project);
  useEffect(() => {
    if (path === "/") go("/runs", "replace");
  }, [path]);
  const found = find(path);
  if (path === "/") return null;
  if (!found) return <NotFound />;
  // Another project is another world: nothing of a screen outlives the switch, nor the step to another one.
  const key = `${chosen} ${found.entry.path} ${Object.values(found.params).join(" ")}`;
  return <Caught key={key}><Lazy load={found.entry.load} params={found.params} /></Caught>;
}

function Lazy({ load, params }: { load: () => Promise<{ default: Screen }>; params: Record<string, string> }) {
  const [screen, setScreen] = useState<{ is?: Screen; fault?: unknown }>({});
  useEffect(() => {
    let wanted = true;
    load().then(
      (module) => wanted && setScreen({ is: module.default }),
      (fault: unknown) => wanted && setScreen({ fault }),
    );
    return () => void (wanted = false);
  }, [load]);
  if (screen.fault) return <Unloaded />;
  return screen.is ? <screen.is params={params} /> : <Loading />;
}

/**
 * The files of a screen did not come. Either nothing answers: loading the page anew would leave nothing of it. Or a newer
 * build has taken the place of this one, and the page anew asks for its files.
 */
function Unloaded() {
  const problem = new ApiError(0, "offline", t.failed.unloaded);
  const again = (): void => void fetch(location.href, { method: "HEAD" }).then(() => location.reload(), toastProblem);
  return <Failed problem={problem} again={again} />;
}

function NotFound() {
  return (
    <Page title={t.notFound.title}>
      <Empty title={t.notFound.lead} text={t.notFound.text}><Link to="/runs" class="button">{t.notFound.back}</Link></Empty>
    </Page>
  );
}

/** A fault in a screen leaves the shell standing. */
class Caught extends Component<{ children: ComponentChildren }, { fault?: unknown }> {
  static override getDerivedStateFromError(fault: unknown) {
    return { fault };
  }

  override render() {
    const { fault } = this.state;
    if (fault === undefined) return this.props.children;
    return <Failed title={t.failed.crashed} problem={asProblem(fault)} again={() => this.setState({ fault: undefined })} />;
  }
}
