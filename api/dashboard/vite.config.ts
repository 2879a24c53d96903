import { defineConfig, loadEnv } from "vite";
import { leanCharts } from "./lean.ts";

const { NEFTUNE_URL: service = "http://127.0.0.1:8000" } = loadEnv("", ".", "NEFTUNE_");

export default defineConfig({
  base: "/app/",
  plugins: [leanCharts()],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    target: ["chrome123", "firefox121", "safari17.5"],
    assetsInlineLimit: 0, // the page's policy lets nothing be inline
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    // Few files: what is packed together shares its words. A tenth of the bytes is saved, and a screen is one request away at most.
    cssCodeSplit: false,
    rolldownOptions: { output: { codeSplitting: { groups: [
      { name: "core", test: /node_modules\/preact|src\/(?!chart\/|screens\/)|src\/screens\/runs\/|Sparkline/, priority: 3 }, // what is seen first
      { name: "curves", test: /node_modules\/uplot|src\/chart\/|src\/screens\/(run|compare|series)\//, priority: 2 },
      { name: "screens", test: /src\/screens\//, priority: 1 },
    ] } } },
  },
  // `npm run dev` beside a service that runs: everything but the page is its own.
  server: { proxy: { "^/(?!app)": { target: service } } },
});
