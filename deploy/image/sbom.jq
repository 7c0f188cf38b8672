# The bill of materials, from $crates (name, version, licence) and $packages (name, version), each a line with tabs.
def rows: split("\n") | map(select(. != "") | split("\t"));
def licence: if . == "" or . == null then {} else {licenses: [{expression: (gsub("/"; " OR "))}]} end;

($crates | rows) as $crates
| ($packages | rows) as $packages
| {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    version: 1,
    metadata: {
      component: {
        type: "container",
        "bom-ref": "rollcall",
        name: "rollcall",
        version: ($crates | map(select(.[0] == "sync-worker"))[0][1])
      }
    },
    components: (
      ($crates | map({
        type: "library",
        "bom-ref": "pkg:cargo/\(.[0])@\(.[1])",
        name: .[0],
        version: .[1],
        purl: "pkg:cargo/\(.[0])@\(.[1])"
      } + (.[2] | licence)))
      + ($packages | map({
        type: "library",
        "bom-ref": "pkg:deb/debian/\(.[0])@\(.[1] | @uri)",
        name: .[0],
        version: .[1],
        purl: "pkg:deb/debian/\(.[0])@\(.[1] | @uri)"
      }))
    )
  }
