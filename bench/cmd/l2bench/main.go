package main
import ("context";"fmt";"os";"time";"strconv";"github.com/randomizedcoder/l2d/bench")
func main(){
 sink,_:=strconv.Atoi(os.Args[1])
 _,err:=bench.Run(context.Background(),[]bench.Device{&bench.Redirect{},bench.Forward{},bench.NFTables{Ruleset:"examples/l2/firewall.nft"}},bench.Options{Flows:1024,Repetitions:3,Warmup:200*time.Millisecond,Duration:time.Second,GenCPU:0,RouterCPU:1,SinkCPU:sink},func(s string){fmt.Println(s)})
 if err!=nil{fmt.Println(err);os.Exit(1)}
}
