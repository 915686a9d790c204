/* The page in a notebook: it stands in a frame of its own, and tells and is told its state by messages. */

export default {
  render({ model, el }) {
    const frame = document.createElement("iframe");
    frame.title = "gdlab playground";
    frame.setAttribute("sandbox", "allow-scripts allow-downloads");
    frame.style.cssText = `width: 100%; height: ${model.get("height")}px; border: 0`;
    frame.srcdoc = model.get("_page");
    let said = "{}";
    const hear = ({ source, data }) => {
      if (source !== frame.contentWindow || !data || !data.gdlab) return;
      said = JSON.stringify(data.gdlab);
      model.set("state", data.gdlab);
      model.save_changes();
    };
    const tell = () => {
      const now = model.get("state");
      if (JSON.stringify(now) !== said) frame.contentWindow.postMessage({ gdlab: now }, "*");
    };
    addEventListener("message", hear);
    model.on("change:state", tell);
    frame.addEventListener("load", tell);
    el.append(frame);
    return () => {
      removeEventListener("message", hear);
      model.off("change:state", tell);
    };
  },
};
